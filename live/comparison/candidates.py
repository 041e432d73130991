"""The candidates of a comparison: every method at each of its learning rates."""

from pydantic import ValidationError

from icecore.store import UsageError, validation_message
from icecore.train.runs import Candidate

from ..finetune.methods import Method, get_method
from ..finetune.settings import CompareSettings


def candidates(settings: CompareSettings, depth: int) -> list[Candidate]:
    """Return one candidate for each method and learning rate, in the order of the methods, on layer `depth`.

    Raises:
        UsageError: an unknown method, an option of a method that is not compared, or a wrong value of an option.
    """
    unknown = sorted(set(settings.options) - set(settings.methods))
    if unknown:
        raise UsageError(f"options for {unknown}: not among the methods {list(settings.methods)}")
    all_candidates: list[Candidate] = []
    for name in settings.methods:
        method = _configured(name, settings)
        for lr in settings.lr or method.lrs:
            recipe = settings.recipe(lr, settings.seed)
            config = method.model_dump(mode="json")
            all_candidates.append(Candidate(adapter=name, layers=(depth,), config=config, recipe=recipe))
    return all_candidates


def _configured(name: str, settings: CompareSettings) -> Method:
    kind = get_method(name)
    try:
        return kind.model_validate(settings.options.get(name, {}))
    except ValidationError as error:
        known = ", ".join(kind.model_fields) or "none"
        message = validation_message(error, lambda key: f"option {key!r} of method {name!r}")
        raise UsageError(f"{message}; it has {known}") from None
