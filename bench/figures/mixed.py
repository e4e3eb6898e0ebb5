"""Requests lost over many upgrades under constant mixed load: the example servers."""

from lab import PYTHON_SERVER, RUST_SERVER, Row, handover, kinds, load, say


def measure(quick):
    count = 8 if quick else 100
    rows = []
    for name, command in (("Python", PYTHON_SERVER), ("Rust", [RUST_SERVER])):
        flags = ["--bake", "200ms"] if quick else []
        with handover(command, *flags) as service:
            result = load(service.port(), command=service.upgrade_command(), count=count)
        say(f"{name}: {result['requests']} requests, {result['failed']} failed; {kinds(result)}")
        done = result["commands"] - result["commands_failed"]
        spread = len(result["generations"])
        rows.append(Row(
            f"lost requests, {done} upgrades, {name} example",
            f"{result['failed']} of {result['requests']}", "0",
            f"{spread} generations answered", result["failed"] == 0 and done == count))
    return rows
