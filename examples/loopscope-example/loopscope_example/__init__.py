"""One family, measure, view and intervention for Loopscope: docs/plugins.md builds them."""
