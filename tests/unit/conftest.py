"""Settings of all unit tests."""

from hypothesis import settings

# A busy machine is no defect: an example may take as long as it takes.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
