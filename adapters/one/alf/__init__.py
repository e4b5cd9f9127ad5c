"""ALF: the naming of sessions and datasets, their files, and the tables that list them."""
