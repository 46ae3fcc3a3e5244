"""Events -> populations -> MFI."""
