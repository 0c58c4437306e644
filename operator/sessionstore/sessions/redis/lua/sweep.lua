-- Make expired sessions of one bucket tombstones. KEYS[1] is unused. Terms: how many at most, -, -.
return {'ok', sweep(first)}
