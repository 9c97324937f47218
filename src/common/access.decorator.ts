import { SetMetadata } from '@nestjs/common';

/**
 * Who may call a route:
 * - `public`: anyone
 * - `read`: anyone, or holders of the API token when `READ_AUTH` is set
 * - `token`: holders of the API token
 * - `peer`: other agents
 * - `peer-or-token`: both of the above
 */
export type AccessKind = 'public' | 'read' | 'token' | 'peer' | 'peer-or-token';

export const ACCESS_METADATA = 'image-preheat:access';

/** Declares who may call a route (or all routes of a controller). A route without it answers nobody. */
export const Access = (kind: AccessKind): MethodDecorator & ClassDecorator =>
  SetMetadata(ACCESS_METADATA, kind);
