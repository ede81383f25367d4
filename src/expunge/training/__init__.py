"""The engine: recipes, plans and names, units of building, versions, ensembles."""
