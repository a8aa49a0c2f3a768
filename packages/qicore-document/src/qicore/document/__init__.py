"""Documents from jinja2 templates, with every mistake a Result"""
