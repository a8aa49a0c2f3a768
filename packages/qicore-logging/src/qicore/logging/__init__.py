"""Structured logging on structlog that never takes the caller down"""
