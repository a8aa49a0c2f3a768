"""What holds for every test run."""

from hypothesis import settings

# A slow or busy machine is no failure: no example has a deadline, as in Hypothesis' own profile for CI.
_current = settings.get_profile(settings.get_current_profile_name())
settings.register_profile("patient", _current, deadline=None)
settings.load_profile("patient")
