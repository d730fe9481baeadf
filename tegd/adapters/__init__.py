"""One outside thing each: the store on disk, the airlock side."""
