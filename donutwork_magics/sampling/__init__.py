"""Many calls: the plan of a series, its absolute schedule, the workers, and the rows as they come in."""
