"""Was it forgotten? Checks that never import a method."""
