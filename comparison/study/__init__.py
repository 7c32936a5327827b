"""Many seeds in both frameworks: a plan that is written first, an engine that trains, and what the pairs say."""
