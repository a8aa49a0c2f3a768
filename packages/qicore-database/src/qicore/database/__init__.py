"""SQLite under asyncio: typed rows, honest transactions, one Result per call"""
