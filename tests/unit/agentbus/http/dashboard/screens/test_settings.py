"""Settings and statistics: what is shown of them, and that no secret is."""

import html
import json
import re
from typing import Any

import pytest

from agentbus.operations.api_keys import Role
from agentbus.settings import CONCERNS
from agentbus.variables import variable_of
from tests.harness.dashboard import a_desk, fill


async def test_every_setting_is_shown_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBUS_PREFETCH", "17")
    secrets: dict[str, Any] = {
        "smtp_password": "hunter2-mail",
        "expiry_webhook": "https://hooks.example/hunter2-path",
        "expiry_webhook_secret": "hunter2-signs-hunter2-signs-hunter2",
        "claim_secret": "hunter2-claims-hunter2-claims-hunter2",
        "backup_url": "s3://key:hunter2-s3@bucket.example/backups?token=hunter2-token",
    }
    async with a_desk(**secrets) as desk:
        page = (await desk.get("/settings")).text
        assert "hunter2" not in page
        for concern in CONCERNS:
            for name in concern.model_fields:
                assert f">{variable_of(name)}<" in page, name
        rows = dict(re.findall(r'<td class="id">(\w+)</td>(.*?)</tr>', page))
        assert ">17<" in rows["AGENTBUS_PREFETCH"]
        assert ">environment<" in rows["AGENTBUS_PREFETCH"]
        assert ">default<" in rows["AGENTBUS_SMTP_HOST"]
        assert ">set<" in rows["AGENTBUS_SMTP_PASSWORD"]
        assert "bucket.example/backups" in rows["AGENTBUS_BACKUP_URL"]
    async with a_desk({Role.READ, Role.OPERATE}) as desk:
        assert (await desk.get("/settings")).status_code == 403
        assert 'href="/settings"' not in (await desk.get("/")).text


async def test_figures_are_those_of_the_page() -> None:
    async with a_desk() as desk:
        assert "Nothing was counted" in (await desk.get("/statistics")).text
        await fill(desk.app)
        for days in (1, 7, 30, 90, "odd"):
            page = (await desk.get(f"/statistics?days={days}")).text
            [plot] = re.findall(r'data-plot="([^"]*)"', page)
            trend = json.loads(html.unescape(plot))
            assert sum(trend["series"][0]["y"]) == 22, days
            assert len(trend["x"]) == len(trend["series"][1]["y"])
