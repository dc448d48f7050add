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
    Socket: { socketId: number; on: boolean; changedAt: string; origin: components["schemas"]["Origin"] };
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
      expiresAt: string;
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
      origin?: components["schemas"]["Origin"];
      data?: unknown;
    };
    Fleet: {
      total: number;
      online: number;
      offline: number;
      never: number;
      pending: number;
      powerW: number;
      energyTodayWh: number | null;
      locations: string[];
    };
    HistoryPoint: {
      ts: number;
      powerW?: number | null;
      minPowerW?: number | null;
      maxPowerW?: number | null;
      energyWh?: number | null;
    };
    Session: { username: string; role: string; csrfToken: string };
    Problem: {
      type: string;
      title: string;
      status: number;
      detail?: string;
      errors?: { field: string; rule: string }[];
    };
  };
}
