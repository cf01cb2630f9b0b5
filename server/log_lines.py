"""One plain line for each thing an operator should know: time, level, event. Never a path, name or body."""

from typing import Any

import structlog

_SHARED: list[Any] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def log_configuration(level: str = "INFO") -> dict[str, Any]:
    """For logging.config: every logger of this process, the server's own included, writes in one form."""
    plain = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": _SHARED,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": plain},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "plain"}
        },
        "root": {"handlers": ["console"], "level": "WARNING"},
        "loggers": {"_granian": {"handlers": ["console"], "level": level, "propagate": False}},
    }


def configure_structlog() -> None:
    """Sends structlog's own events through the same handlers."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
