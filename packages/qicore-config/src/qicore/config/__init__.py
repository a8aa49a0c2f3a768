"""Layered, immutable configuration that knows where every value came from"""
