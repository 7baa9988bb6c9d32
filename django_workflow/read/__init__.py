"""Reading what the engine wrote, for every interface."""
