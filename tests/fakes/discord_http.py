"""The fake Discord's front door: every request is recorded, checked, limited, spoiled if ordered, then answered."""

import asyncio
import json
from typing import Any

from aiohttp import web

from tests.fakes.discord_calls import Call, Trouble, Troubles, failure, read_call
from tests.fakes.discord_rates import Rates
from tests.fakes.discord_rest import Routes
from tests.fakes.discord_spec import SchemaRefusal, answer_faults, check_request, discord_spec
from tests.fakes.discord_values import Refusal
from tests.fakes.discord_world import World
from tests.fakes.openapi import Paths

API = "/api/v10"


class FrontDoor:
    def __init__(self, world: World, routes: Routes) -> None:
        self.requests: list[Call] = []
        self.troubles = Troubles()
        self.own_faults: list[str] = []
        """Answers of the fake itself that do not look as described."""
        self._world = world
        self._routes = routes
        self._paths = Paths({template for _, template in routes.table})
        self._rates = Rates()
        self._spec = discord_spec()

    async def serve(self, request: web.Request) -> web.Response:
        call = await read_call(request, request.path.removeprefix(API), self._world.token)
        self.requests.append(call)
        trouble = self.troubles.take(call)
        if trouble is not None:
            await asyncio.sleep(trouble.delay_s)
        if trouble is None or trouble.work_first or trouble.only_delay:
            response = self._response(call)
        if trouble is not None and not trouble.only_delay:
            response = _spoiled(request, call, trouble)
        self._world.bell.ring()
        return response

    async def serve_file(self, request: web.Request) -> web.Response:
        attachment = self._world.shelf.get(request.path, request.query)
        if attachment is None:
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(body=attachment.data, headers={"Content-Type": attachment.content_type})

    def _response(self, call: Call) -> web.Response:
        headers = {"Via": "1.1 google"}
        try:
            headers |= self._admitted(call)
            status, body = self._routes.table[call.method, call.template](call)
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
            headers |= refusal.headers
            self._world.violations.extend(_violations(call, refusal))
        call.status = status
        if self._spec is not None and self._spec.knows(call.method, call.template):
            self.own_faults.extend(answer_faults(self._spec, call, status, body))
        return _json_response(status, body, headers)

    def _admitted(self, call: Call) -> dict[str, str]:
        """Return the rate limit headers of a request that may go on; the spec is asked last, as Discord does."""
        self._world.violations.extend(f"{call.method} {call.path}: {remark}" for remark in call.remarks)
        found = self._paths.find(call.path)
        if found is None or (call.method, found[0]) not in self._routes.table:
            self._world.violations.append(f"{call.method} {call.path}: the fake has no such route")
            raise Refusal(404, 0, "404: Not Found")
        call.template, call.params = found
        if call.credential != "right" and self._routes.needs_token(call.template):
            raise Refusal(401, 0, "401: Unauthorized")
        headers = self._rates.spend(call.method, call.template, call.params, enforced=self._world.enforce_rates)
        if self._spec is not None:
            self._world.violations.extend(check_request(self._spec, call))
        return headers


def _violations(call: Call, refusal: Refusal) -> list[str]:
    """What a test would not want to see: forms that do not fit. Everything else can happen to the best."""
    if isinstance(refusal, SchemaRefusal):
        return refusal.violations
    if refusal.code in {50035, 50006, 50109, 40005, 40060}:
        return [f"{call.method} {call.template}: {refusal}"]
    return []


def _spoiled(request: web.Request, call: Call, trouble: Trouble) -> web.Response:
    if trouble.status is None:
        call.status = 0
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
    call.status = trouble.status
    body, headers = failure(trouble.status, trouble.body, trouble.headers)
    if isinstance(body, str):
        return web.Response(status=trouble.status, text=body, content_type="text/html", headers=headers)
    return _json_response(trouble.status, body, {"Via": "1.1 google"} | headers)


def _json_response(status: int, body: Any, headers: dict[str, str]) -> web.Response:
    if body is None:
        return web.Response(status=status, headers=headers)
    # Clients look for exactly this content type; aiohttp's own helper adds a charset.
    return web.Response(
        status=status, body=json.dumps(body).encode(), headers=headers | {"Content-Type": "application/json"}
    )
