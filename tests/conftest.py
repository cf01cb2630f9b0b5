"""What every test shares."""

from hypothesis import HealthCheck, Phase, settings

# Under load a slow example is no fault; the faults' runner needs no shortest example, only a red test.
settings.register_profile("held", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "faults", settings.get_profile("held"), phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
settings.load_profile("held")
