"""Command lines as values: parsers that compose and never exit"""
