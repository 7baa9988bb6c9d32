"""A site that uses all of django_workflow; it is also the project the tests run in."""
