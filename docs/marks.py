"""What pages hold that is made from code stands between two marks, so that the rest can be written by hand."""


def put(text: str, kind: str, name: str, made: str) -> str:
    """A page with what stands between `<!-- KIND: NAME -->` and `<!-- end of KIND -->` made anew."""
    before, begin, rest = text.partition(f"<!-- {kind}: {name} -->\n")
    _, end, after = rest.partition(f"\n<!-- end of {kind} -->")
    assert begin, f"no mark for the {kind} {name}"
    assert end, f"no end of the {kind} {name}"
    return before + begin + made + end + after
