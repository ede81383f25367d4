"""Where work runs: in this process, or in warm worker processes of this machine."""
