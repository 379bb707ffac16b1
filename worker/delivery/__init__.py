"""Everything that is posted or edited about a job after its placeholder; a process of its own, without torch."""
