"""The providers that come with qicore-ai, each loaded when it is first asked for."""
