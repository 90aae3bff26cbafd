"""Who is connected to whom, where they are, and how long their lines take."""
