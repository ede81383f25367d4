"""Methods that promise nothing beyond what the audits measured."""
