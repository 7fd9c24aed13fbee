/* Token-budget batching for Triton's dynamic batcher.
 *
 * The batcher counts requests, but a forward pass costs tokens. This strategy closes a batch
 * before its tokens exceed the model's parameter `max_batch_tokens`.
 *
 *   cc -O2 -shared -fPIC -o batchstrategy.so batch_strategy.c
 *
 * Triton loads it by itself, if it is called batchstrategy.so and stands in the folder of the
 * model's version, of the model or of its backend. The symbols are resolved in the server, so no
 * header and no library is needed: these are the few prototypes of triton/core/tritonbackend.h. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct TRITONSERVER_Error TRITONSERVER_Error;
typedef struct TRITONSERVER_Message TRITONSERVER_Message;
typedef struct TRITONBACKEND_Model TRITONBACKEND_Model;
typedef struct TRITONBACKEND_Request TRITONBACKEND_Request;
typedef struct TRITONBACKEND_Input TRITONBACKEND_Input;
typedef struct TRITONBACKEND_Batcher TRITONBACKEND_Batcher;

enum { TRITONSERVER_ERROR_INTERNAL = 1 };
TRITONSERVER_Error* TRITONSERVER_ErrorNew(int code, const char* message);
TRITONSERVER_Error* TRITONSERVER_MessageSerializeToJson(
    TRITONSERVER_Message* message, const char** base, size_t* byte_size);
TRITONSERVER_Error* TRITONSERVER_MessageDelete(TRITONSERVER_Message* message);
TRITONSERVER_Error* TRITONBACKEND_ModelConfig(
    TRITONBACKEND_Model* model, uint32_t config_version, TRITONSERVER_Message** config);
TRITONSERVER_Error* TRITONBACKEND_RequestInputCount(
    TRITONBACKEND_Request* request, uint32_t* count);
TRITONSERVER_Error* TRITONBACKEND_RequestInputByIndex(
    TRITONBACKEND_Request* request, uint32_t index, TRITONBACKEND_Input** input);
TRITONSERVER_Error* TRITONBACKEND_InputProperties(
    TRITONBACKEND_Input* input, const char** name, int* data_type, const int64_t** shape,
    uint32_t* dims_count, uint64_t* byte_size, uint32_t* buffer_count);

/* As the backend's own default, settings.py. */
enum { DEFAULT_MAX_BATCH_TOKENS = 8192, BYTES_PER_TOKEN = 4 };

/* What a model's batcher knows, and what a growing batch has taken. */
typedef struct { uint64_t max_batch_tokens; } Budget;
typedef struct { uint64_t max_batch_tokens; uint64_t tokens; } Batch;

static uint64_t read_budget(const char* json, size_t byte_size) {
  static const char key[] = "\"max_batch_tokens\":{\"string_value\":\"";
  const size_t key_size = sizeof(key) - 1;
  for (size_t start = 0; start + key_size < byte_size; ++start) {
    if (memcmp(json + start, key, key_size) != 0) continue;
    uint64_t budget = 0;
    for (const char* digit = json + start + key_size;
         digit < json + byte_size && *digit >= '0' && *digit <= '9'; ++digit)
      budget = budget * 10 + (uint64_t)(*digit - '0');
    return budget > 0 ? budget : DEFAULT_MAX_BATCH_TOKENS;
  }
  return DEFAULT_MAX_BATCH_TOKENS;
}

/* INPUT_IDS holds 4 bytes a token. A token of TEXT is about 4 bytes of text. */
static TRITONSERVER_Error* count_tokens(TRITONBACKEND_Request* request, uint64_t* tokens) {
  uint32_t count = 0;
  TRITONSERVER_Error* error = TRITONBACKEND_RequestInputCount(request, &count);
  *tokens = 0;
  for (uint32_t index = 0; error == NULL && index < count; ++index) {
    TRITONBACKEND_Input* input = NULL;
    const char* name = "";
    uint64_t byte_size = 0;
    error = TRITONBACKEND_RequestInputByIndex(request, index, &input);
    if (error == NULL)
      error = TRITONBACKEND_InputProperties(input, &name, NULL, NULL, NULL, &byte_size, NULL);
    if (error == NULL && (strcmp(name, "INPUT_IDS") == 0 || strcmp(name, "TEXT") == 0))
      *tokens += byte_size / BYTES_PER_TOKEN;
  }
  return error;
}

TRITONSERVER_Error* TRITONBACKEND_ModelBatcherInitialize(
    TRITONBACKEND_Batcher** batcher, TRITONBACKEND_Model* model) {
  TRITONSERVER_Message* config = NULL;
  const char* json = NULL;
  size_t byte_size = 0;
  TRITONSERVER_Error* error = TRITONBACKEND_ModelConfig(model, 1, &config);
  if (error != NULL) return error;
  error = TRITONSERVER_MessageSerializeToJson(config, &json, &byte_size);
  Budget* budget = error == NULL ? malloc(sizeof(*budget)) : NULL;
  if (budget != NULL) budget->max_batch_tokens = read_budget(json, byte_size);
  *batcher = (TRITONBACKEND_Batcher*)budget;
  TRITONSERVER_MessageDelete(config);
  if (error != NULL || budget != NULL) return error;
  return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "no memory for the batcher");
}

TRITONSERVER_Error* TRITONBACKEND_ModelBatcherFinalize(TRITONBACKEND_Batcher* batcher) {
  free(batcher);
  return NULL;
}

TRITONSERVER_Error* TRITONBACKEND_ModelBatchInitialize(
    const TRITONBACKEND_Batcher* batcher, void** state) {
  Batch* batch = malloc(sizeof(*batch));
  *state = batch;
  if (batch == NULL)
    return TRITONSERVER_ErrorNew(TRITONSERVER_ERROR_INTERNAL, "no memory for a batch");
  batch->max_batch_tokens = ((const Budget*)batcher)->max_batch_tokens;
  batch->tokens = 0;
  return NULL;
}

TRITONSERVER_Error* TRITONBACKEND_ModelBatchIncludeRequest(
    TRITONBACKEND_Request* request, void* state, bool* should_include) {
  Batch* batch = state;
  uint64_t tokens = 0;
  TRITONSERVER_Error* error = count_tokens(request, &tokens);
  /* An empty batch takes anything: a request above the budget would wait for ever. */
  *should_include = batch->tokens == 0 || batch->tokens + tokens <= batch->max_batch_tokens;
  if (*should_include) batch->tokens += tokens;
  return error;
}

TRITONSERVER_Error* TRITONBACKEND_ModelBatchFinalize(void* state) {
  free(state);
  return NULL;
}
