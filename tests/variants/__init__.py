"""Sites that are set up differently: settings with which the tests of other folders run as well."""
