"""The controller: takes in telemetry, projects the field, classifies the phase, sets the rates. Gives no orders."""
