"""A real browser: Debian's Chromium, driven over its own protocol."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import Browser, async_playwright

from tests.harness.patience import PATIENCE
from tests.services.programs import chromium_program

MILLISECONDS: Final = PATIENCE * 1000

_SETTINGS: Final = ("--no-sandbox", "--disable-dev-shm-usage")
"""What Chromium needs as root, and in a container."""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start one; each context of it is somebody with a profile of their own."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=chromium_program(), args=_SETTINGS, timeout=MILLISECONDS)
        try:
            yield browser
        finally:
            await browser.close()
