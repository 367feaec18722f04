"""The couriers to people: wake-up pushes and fallback SMS. Push wakes, it never proves delivery; nothing here decides a message's life."""
