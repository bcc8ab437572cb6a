"""The verb data: make, fetch, check and summarize image folders and stores."""
