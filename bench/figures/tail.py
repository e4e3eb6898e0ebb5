"""p99.9 latency during upgrades over p99.9 in steady state, Rust example."""

from lab import RUST_SERVER, Row, handover, have, load, median, say, server_starter


def ratio(result):
    steady, upgrade = (result["latency"][window]["p999_ms"] for window in ("steady", "upgrade"))
    return upgrade / steady, steady, upgrade


def measure(quick):
    runs, count = (1, 3) if quick else (10, 8)
    ours, theirs = [], []
    for run in range(runs):
        with handover([RUST_SERVER]) as service:
            one = load(service.port(), command=service.upgrade_command(), every="4s", count=count)
        ours.append(ratio(one)[0])
        text = "run {}: handover {:.2f} ({:.2f} → {:.2f} ms)".format(run + 1, *ratio(one))
        if have("start_server"):
            with server_starter([RUST_SERVER]) as (_, port, restart):
                one = load(port, command=restart, every="4s", count=count)
            theirs.append(ratio(one)[0])
            text += ", Server::Starter {:.2f} ({:.2f} → {:.2f} ms)".format(*ratio(one))
        say(text)
    middle = median(ours)
    limit = max(1.5, median(theirs)) if theirs else 1.5
    peers = f"Server::Starter: {', '.join(f'{r:.2f}' for r in theirs)}" if theirs else "not installed"
    return [Row("p99.9 in upgrades / steady", f"median {middle:.2f} of {', '.join(f'{r:.2f}' for r in ours)}",
                "≤ 1.5, or the peer's", peers, middle <= limit)]
