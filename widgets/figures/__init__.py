"""The page: matplotlib drawings of the same data the screen shows. No Qt in here."""
