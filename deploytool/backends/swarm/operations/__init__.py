"""Operations on an app that runs."""
