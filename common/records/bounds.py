"""What kinds of numbers and texts stand in a record."""

from typing import Annotated

from pydantic import Field

MAX_MAGNITUDE = 1e15  # of seconds, counts and scores; a quotient of two is finite

Text = Annotated[str, Field(max_length=10_000)]
Flag = Annotated[bool, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1, le=int(MAX_MAGNITUDE))]
Whole = Annotated[int, Field(strict=True, ge=0, le=int(MAX_MAGNITUDE))]
Amount = Annotated[float, Field(strict=True, ge=-MAX_MAGNITUDE, le=MAX_MAGNITUDE)]
NonNegative = Annotated[float, Field(strict=True, ge=0, le=MAX_MAGNITUDE)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Positive = Annotated[float, Field(strict=True, ge=1 / MAX_MAGNITUDE, le=MAX_MAGNITUDE)]
Seconds = NonNegative | None
