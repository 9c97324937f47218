import { HttpException, HttpStatus } from '@nestjs/common';

/** Every refusal of this feature, in one place. */
function refusal(statusCode: HttpStatus, code: string, message: string): HttpException {
  return new HttpException({ statusCode, code, message }, statusCode);
}

export function imageRequired(): HttpException {
  return refusal(
    HttpStatus.BAD_REQUEST,
    'IMAGE_REQUIRED',
    'the query needs exactly one "image", such as ?image=nginx:1.27',
  );
}

/** Also for images that are there but that nobody named: what else a node runs is nobody's business. */
export function imageNotFound(image: string): HttpException {
  return refusal(
    HttpStatus.NOT_FOUND,
    'IMAGE_NOT_FOUND',
    `${image} is not on this node, or neither the list nor a request names it`,
  );
}

export function registryNotAllowed(registry: string): HttpException {
  return refusal(
    HttpStatus.FORBIDDEN,
    'REGISTRY_NOT_ALLOWED',
    `${registry} is neither a registry of the image list nor one of ALLOWED_REGISTRIES`,
  );
}

/** Of several images that are in the runtime alone, one at a time can be had. */
export function exportUnderWay(): HttpException {
  return refusal(
    HttpStatus.TOO_MANY_REQUESTS,
    'EXPORT_UNDER_WAY',
    'the runtime is exporting another image, and exports one at a time',
  );
}

/** @param message says how much there is, and how much is needed */
export function noRoomToExport(message: string): HttpException {
  return refusal(HttpStatus.SERVICE_UNAVAILABLE, 'INSUFFICIENT_DISK', message);
}

export function tooManyDownloads(limit: number): HttpException {
  return refusal(
    HttpStatus.TOO_MANY_REQUESTS,
    'TOO_MANY_DOWNLOADS',
    `${limit} downloads are under way, which is the limit`,
  );
}
