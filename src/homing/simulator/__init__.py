"""The simulated world: phones, push services, carriers and receivers that behave as told, and a clock that can be pushed.

Only the ends are simulated; the engine, the gateway and the callbacks between them are the real ones. Composed by
`homing dev`, `homing demo` and tests, never by `homing serve`.
"""
