"""The threads beside the dispatcher: heartbeats, notifications, the keeper, announcements."""
