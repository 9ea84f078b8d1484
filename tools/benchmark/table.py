"""Tables in Markdown, for the terminal and for docs/PERFORMANCE.md."""


def row(cells):
    print("| " + " | ".join(cells) + " |", flush=True)


def header(*titles):
    row(titles)
    row(["---"] + ["---:"] * (len(titles) - 1))


def spread(ratio):
    return f"{ratio['median']:.2f} ({ratio['min']:.2f}..{ratio['max']:.2f})"


def inverse(ratio):
    """The ratio the other way round."""
    return {"median": 1 / ratio["median"], "min": 1 / ratio["max"], "max": 1 / ratio["min"]}


def yes(is_met):
    return "yes" if is_met else "**no**"


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def ratio_of(values):
    """The median of ratios of rounds, and how far they strayed."""
    return {"median": median(values), "min": min(values), "max": max(values)}
