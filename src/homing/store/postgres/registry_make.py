"""Which function makes which change."""

from typing import Any, assert_never

from homing.store import changes
from homing.store.changes import Change
from homing.store.postgres import registry_changes as of
from homing.store.postgres import registry_devices as device
from homing.store.postgres import registry_endpoints as endpoint
from homing.store.postgres import registry_jobs as job
from homing.store.postgres import registry_listeners as listener


async def make_change(connection: Any, change: Change, now_ms: int, feed_lag_ms: int) -> object:
    """Do what a change says inside the caller's transaction; return what its docstring promises."""
    match change:
        case changes.CreateApp():
            return await of.create_app(connection, change, now_ms)
        case changes.UpdateApp():
            return await of.update_app(connection, change)
        case changes.RotateAppSecret():
            return await of.rotate_app_secret(connection, change)
        case changes.DeleteApp():
            await of.delete_app(connection, change, now_ms)
        case changes.CreateUser():
            return await of.create_user(connection, change, now_ms)
        case changes.UpdateUser():
            return await of.update_user(connection, change)
        case changes.DeleteUser():
            return await of.delete_user(connection, change)
        case changes.CreateEndpoint():
            return await endpoint.create_endpoint(connection, change, now_ms)
        case changes.UpdateEndpoint():
            return await endpoint.update_endpoint(connection, change)
        case changes.RotateEndpointSecret():
            return await endpoint.rotate_secret(connection, change)
        case changes.EnableEndpoint():
            return await endpoint.enable_endpoint(connection, change)
        case changes.SetEndpointHealth():
            return await endpoint.set_health(connection, change, now_ms)
        case changes.DisableEndpoint():
            return await endpoint.disable_endpoint(connection, change, now_ms)
        case changes.DeleteEndpoint():
            return await endpoint.delete_endpoint(connection, change, now_ms)
        case changes.OpenNotify():
            return await endpoint.open_notify(connection, change, now_ms)
        case changes.EndNotify():
            await endpoint.end_notify(connection, change)
        case changes.TouchEndpoints():
            await endpoint.touch_endpoints(connection, change)
        case changes.CreateJob():
            return await job.create_job(connection, change, now_ms)
        case changes.UpdateJob():
            return await job.update_job(connection, change, now_ms)
        case changes.OpenListener():
            return await listener.open_listener(connection, change, now_ms, feed_lag_ms)
        case changes.MoveListener():
            return await listener.move_listener(connection, change)
        case changes.DeleteListener():
            await listener.delete_listener(connection, change)
        case changes.CreateToken():
            return await of.create_token(connection, change, now_ms)
        case changes.DeleteToken():
            await of.delete_token(connection, change)
        case changes.SaveDevice():
            return await device.save_device(connection, change, now_ms)
        case changes.SetPushToken():
            return await device.set_push_token(connection, change)
        case changes.RetirePushToken():
            await device.retire_push_token(connection, change)
        case changes.RemoveDevice():
            await device.remove_device(connection, change)
        case changes.TouchDevices():
            await device.touch_devices(connection, change)
        case _:
            assert_never(change)
    return None
