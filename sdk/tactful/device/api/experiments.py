"""`me.experiments`: A/B tests that are drawn and measured on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tactful.device.personalizer_arguments import check_experiment

if TYPE_CHECKING:
    from tactful.device.core import DeviceCore
    from tactful.device.network.contributor import Contribution
    from tactful.protocol.documents.experiment import Arm, Experiment


class ExperimentsApi:
    """Variants of this device, their exposures, and its contribution to the sums."""

    def __init__(self, core: DeviceCore) -> None:
        self._core = core

    def variant(self, experiment: Experiment) -> Arm:
        """Return the arm that this device shows.

        It is the control if the person does not take part.
        """
        from tactful.device.experiments import assign

        check_experiment(experiment)
        core = self._core
        if not core.state_cache.current().consent.allows("experiments"):
            return experiment.arms[0]
        arm = assign(core.vault, experiment, core.now_seconds())
        return arm or experiment.arms[0]

    def log_exposure(self, experiment: Experiment) -> None:
        """Record that the person saw their variant today.

        Record nothing if the person does not take part.
        """
        from tactful.device.experiments import log_exposure, participation

        check_experiment(experiment)
        core = self._core
        arms = participation(core.vault, core.now_seconds()).arms
        takes_part = core.state_cache.current().consent.allows("experiments")
        if takes_part and experiment.id in arms:
            log_exposure(core.vault, experiment, core.day_number())

    def contribute(self, experiment: Experiment) -> Contribution | None:
        """Send this device's metrics in the open period, once.

        Return None until the measured window of this device has ended. Raise
        ConsentMissing, TrustPending, BudgetExhausted, TaskRejected, HpkeConfigRejected,
        ReportRejected or TransportError.
        """
        check_experiment(experiment)
        return self._core.sharing.contribute_to(experiment)
