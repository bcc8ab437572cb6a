"""The verb data: making, fetching, checking and showing image folders."""
