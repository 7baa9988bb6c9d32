"""Pictures of graphs and timelines: positions, routes, words and signs, without the database."""
