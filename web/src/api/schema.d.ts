/** The API's types as far as the page uses them. */
export interface components {
  schemas: {
    Presence: {
      state: "never" | "online" | "offline";
      since?: string | null;
      reason?: string | null;
      lastSeen?: string | null;
    };
    Origin: { kind: "user" | "token"; name: string } | { kind: "device" } | { kind: "server" };
    Socket: {
      socketId: number;
      on: boolean | null;
      changedAt: string | null;
      origin: components["schemas"]["Origin"] | null;
    };
    Sample: {
      ts: number;
      powerW?: number | null;
      voltageV?: number | null;
      currentA?: number | null;
      energyWh?: number | null;
      powerFactor?: number | null;
      sockets?: { socketId: number; powerW?: number | null; energyWh?: number | null }[];
    };
    Reported: {
      firmware?: string | null;
      ip?: string | null;
      mac?: string | null;
      rssiDbm?: number | null;
      uptimeS?: number | null;
    };
    Device: {
      deviceId: string;
      name: string;
      location: string;
      state: "pending" | "active";
      version: number;
      createdAt: string;
      periodS?: number | null;
      presence: components["schemas"]["Presence"];
      reported?: components["schemas"]["Reported"] | null;
      sockets: components["schemas"]["Socket"][];
      latest?: components["schemas"]["Sample"] | null;
      energyTodayWh?: number | null;
      hasCredentials: boolean;
      inbox?: {
        address?: string | null;
        firstChannel?: string | null;
        firstPayload?: string | null;
        firstAt?: string | null;
      };
    };
    Credentials: { username: string; password: string };
    Created: components["schemas"]["Device"] & { credentials: components["schemas"]["Credentials"] };
    Command: {
      cmdId: string;
      deviceId: string;
      socketId: number;
      action: "on" | "off" | "cycle";
      state: "pending" | "success" | "failed" | "timeout" | "cancelled";
      origin: components["schemas"]["Origin"];
      createdAt: string;
      deadlineAt: string;
      settledAt?: string | null;
      evidence?: "acked" | "inferred" | null;
      reason?: string | null;
      lateOutcome?: "success" | "failed" | null;
      lateAt?: string | null;
    };
    Event: {
      id: string;
      deviceId?: string | null;
      socketId?: number | null;
      type: string;
      severity: "info" | "warning" | "critical";
      ts: string;
      receivedAt: string;
      origin: components["schemas"]["Origin"];
      data: unknown;
    };
    FleetTotals: { devices: number; online: number; offline: number; never: number; powerW: number };
    DeviceMessage: {
      deviceId: string;
      name: string;
      location: string;
      presence: components["schemas"]["Presence"];
      sockets: components["schemas"]["Socket"][];
      latest?: components["schemas"]["Sample"] | null;
    };
    StatusMessage: {
      deviceId: string;
      sockets: components["schemas"]["Socket"][];
      firmware?: string;
      ip?: string;
      rssiDbm?: number;
      uptimeS?: number;
      at: string;
    };
    CommandMessage: {
      cmdId: string;
      deviceId: string;
      socketId: number;
      action: components["schemas"]["Command"]["action"];
      state: components["schemas"]["Command"]["state"];
      evidence?: components["schemas"]["Command"]["evidence"];
      reason?: string | null;
      lateOutcome?: components["schemas"]["Command"]["lateOutcome"];
    };
    SnapshotMessage: {
      topics: string[];
      version: string;
      now: string;
      fleet?: components["schemas"]["FleetTotals"] | null;
      devices: components["schemas"]["DeviceMessage"][];
      events?: components["schemas"]["Event"][] | null;
    };
    PresenceMessage: { deviceId: string; presence: components["schemas"]["Presence"]; eventId: string };
    LiveMessage:
      | ({ type: "snapshot" } & components["schemas"]["SnapshotMessage"])
      | ({ type: "fleet" } & components["schemas"]["FleetTotals"])
      | { type: "telemetry"; deviceId: string; samples: components["schemas"]["Sample"][] }
      | ({ type: "status" } & components["schemas"]["StatusMessage"])
      | ({ type: "command" } & components["schemas"]["CommandMessage"])
      | ({ type: "DEVICE_ONLINE" } & components["schemas"]["PresenceMessage"])
      | ({ type: "DEVICE_OFFLINE" } & components["schemas"]["PresenceMessage"])
      | { type: "event"; deviceId?: string | null; event: components["schemas"]["Event"] }
      | ({ type: "device" } & components["schemas"]["DeviceMessage"])
      | { type: "deviceRemoved"; deviceId: string }
      | { type: "error"; pointer: string; detail: string };
    HistoryPoint: {
      ts: number;
      powerW?: number | null;
      minPowerW?: number | null;
      maxPowerW?: number | null;
      energyWh?: number | null;
    };
    Enrolment: { mode: "open" | "approve" | "closed"; joinKey: string; pending: number };
    Session: { username: string; role: string; csrfToken: string };
    Problem: {
      type: string;
      title: string;
      status: number;
      detail?: string;
      errors?: { pointer: string; detail: string }[];
    };
  };
}
