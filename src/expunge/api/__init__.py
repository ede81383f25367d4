"""The REST service: what routes say, over what :mod:`expunge.service` does."""
