import * as z from "zod/mini";
import { invalid } from "../base/errors.ts";
import type { EndpointSettings, NetworkCreateBody } from "../net/network_types.ts";
import { type App, atLeast, pathName, readJson, readQuery, type Services, signalOf } from "./context.ts";
import { bare, json } from "./reply.ts";
import { networkConnectBody, networkCreateBody, networkDisconnectBody } from "./schemas/network.ts";
import { filterQuery, networkDoctorQuery, networkInspectQuery } from "./schemas/queries.ts";

export function networkRoutes(app: App, { engine }: Services): void {
  // Since 1.28 only who asks for one network is told of the containers in it.
  app.get(
    "/networks",
    async (c) => json(await engine.networkList(readQuery(c, filterQuery).filters, !atLeast(c, "1.28"))),
  );

  app.get("/networks/:name", async (c) => {
    const { scope } = readQuery(c, networkInspectQuery);
    // `verbose` asks for services and peers of a swarm, of which there are none.
    return json(await engine.networkInspect(pathName(c), { scope }));
  });

  app.post("/networks/create", async (c) => {
    const body = await readJson(c, networkCreateBody, "CreateRequest", false);
    return json(await engine.networkCreate(createBodyOf(body, atLeast(c, "1.48"))), 201);
  });

  app.post("/networks/:name/connect", async (c) => {
    const { Container: container, EndpointConfig: settings } = await readJson(
      c,
      networkConnectBody,
      "ConnectOptions",
      false,
    );
    if (container === "") throw invalid("container name or id is required: it is empty");
    await engine.networkConnect(pathName(c), container, endpointOf(settings, atLeast(c, "1.44")));
    return bare(200);
  });

  app.post("/networks/:name/disconnect", async (c) => {
    const { Container: container, Force: force = false } = await readJson(
      c,
      networkDisconnectBody,
      "DisconnectOptions",
      false,
    );
    await engine.networkDisconnect(pathName(c), container, force);
    return bare(200);
  });

  app.delete("/networks/:name", async (c) => {
    await engine.networkRemove(pathName(c));
    return bare(204);
  });

  app.post("/networks/prune", async (c) => {
    return json(await engine.pruneNetworks(readQuery(c, filterQuery).filters, signalOf(c)));
  });

  // berth's own: which ways of networking work on this machine.
  app.get(
    "/berth/network",
    async (c) => json(await engine.networkDoctor(readQuery(c, networkDoctorQuery).fresh)),
  );
}

/** `EnableIPv4` came with 1.48; answers have it in any version, as Docker's do. */
function createBodyOf(
  { EnableIPv4, ...body }: z.output<typeof networkCreateBody>,
  modern: boolean,
): NetworkCreateBody {
  return modern && EnableIPv4 !== undefined ? { ...body, EnableIPv4 } : body;
}

/** Before 1.44 an endpoint had no hardware address of its own. */
function endpointOf(settings: EndpointSettings | undefined, modern: boolean): EndpointSettings | undefined {
  if (settings === undefined || modern) return settings;
  const { MacAddress: _, ...rest } = settings;
  return rest;
}
